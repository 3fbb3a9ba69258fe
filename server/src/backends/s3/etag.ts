/** An etag without what stands around it: stores write it with and without quotes. */
export const bareEtag = (etag: string): string => etag.replace(/^W\//, '').replaceAll('"', '')
